import { baseImage, type Context } from './recipe-bed.ts';

/**
 * Base images with a toolchain, of packages that Debian has. The certificates that the base trusts are kept where a package would write them anew,
 * so that downloads work where a machine has its own.
 */
function debian(packages: string, more = '', after = ''): string {
  return `FROM debian:bookworm-slim
RUN cp /etc/ssl/certs/ca-certificates.crt /root/own.crt \\
 && apt-get update && apt-get install -y --no-install-recommends ${packages} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \\
 && cp /root/own.crt /etc/ssl/certs/ca-certificates.crt ${more}
${after}`;
}

const proxyLike = (env: string, folder: string, user: string): string =>
  `ENV ${env}\nWORKDIR ${folder}\nENTRYPOINT ["/bin/proxy"]\n${user === '' ? '' : `USER ${user}\n`}`;

/** As OpenServerless' Python: pip, another user than root, HOME in /tmp. */
export const pipBase = (): Promise<string> =>
  baseImage('python-pip', {
    dockerfile: `FROM python:3.11-slim\n${proxyLike('HOME=/tmp OW_EXECUTION_ENV=test/python:3', '/action', 'nobody')}`,
  });

/** As a distribution's Python: marked as managed by it (PEP 668), root. */
export const managedPythonBase = (): Promise<string> =>
  baseImage('python-managed', {
    dockerfile: `FROM python:3.11-slim
RUN printf '[externally-managed]\\nError=use apt\\n' >/usr/lib/python3.11/EXTERNALLY-MANAGED
CMD ["python3"]
`,
  });

/** uv and no pip. */
export const uvBase = (): Promise<string> =>
  baseImage('python-uv', {
    dockerfile: `FROM python:3.11-slim
RUN pip install --no-cache-dir uv==0.9.9 && rm -rf /usr/lib/python3/dist-packages/pip /usr/bin/pip*
ENV UV_NATIVE_TLS=true
USER 1000:1000
`,
  });

/** Nobody's folder to install into: node alone. */
export const nodeBase = (): Promise<string> =>
  baseImage('node-plain', { dockerfile: 'FROM node:24-bookworm-slim\nWORKDIR /home/node\nUSER node\n' });

/** Wants a package that is not installed yet and has a script; nobody's folder but /. */
export const nodeScriptBase = (): Promise<string> =>
  baseImage('node-script', {
    dockerfile: 'FROM node:24-bookworm-slim\nCOPY own.json /package.json\nCOPY scripted /srv/scripted\n',
    files: [
      { name: 'own.json', text: '{"dependencies":{"scripted":"file:/srv/scripted"}}' },
      {
        name: 'scripted/package.json',
        text: '{"name":"scripted","version":"1.0.0","scripts":{"postinstall":"touch /script-ran"}}',
      },
      { name: 'scripted/index.js', text: 'module.exports = 1;' },
    ],
  });

/** As OpenServerless' Node: its own packages at /, actions in /app. */
export const nodeRuntimeBase = (): Promise<string> =>
  baseImage('node-runtime', {
    dockerfile: `FROM node:24-bookworm-slim
COPY package.json /own/package.json
RUN npm install --prefix /own --no-audit --no-fund && mv /own/package.json /own/node_modules / && rm -rf /root/.npm && mkdir -p /app/action/1/bin && chown -R nobody /app/action
${proxyLike('HOME=/app OW_EXECUTION_ENV=test/nodejs:24', '/app', 'nobody')}`,
    files: [{ name: 'package.json', text: '{"dependencies":{"ms":"2.1.3"}}\n' }],
  });

const golang = 'golang-go';
/** Another user than root, whose home folder the module cache is in. */
export const goBase = (): Promise<string> =>
  baseImage('go-plain', {
    dockerfile: debian(golang, '', 'RUN useradd --create-home --uid 1234 dev\nUSER dev\nWORKDIR /home/dev\n'),
  });

/** As OpenServerless' Go. */
export const goRuntimeBase = async (): Promise<string> =>
  baseImage('go-runtime', {
    dockerfile: `FROM ${await goBase()}\nUSER root\n${proxyLike('OW_EXECUTION_ENV=test/go:1', '/action', 'nobody')}`,
  });

/** As OpenServerless' Java: a launcher at a fixed place, root, no Maven. The Java keys get the certificates that the base trusts. */
export const javaBase = (): Promise<string> =>
  baseImage('java-runtime', {
    dockerfile: debian(
      'default-jdk-headless',
      `\\
 && mkdir -p /usr/local/share/ca-certificates && cd /usr/local/share/ca-certificates \\
 && awk '/BEGIN CERTIFICATE/{n++} n{print >("own-" n ".crt")}' /root/own.crt && update-ca-certificates --fresh >/dev/null \\
 && cp /root/own.crt /etc/ssl/certs/ca-certificates.crt`,
      `COPY Launcher.java /tmp/Launcher.java
RUN mkdir -p /usr/java/lib && cd /tmp && javac Launcher.java && jar cf /usr/java/lib/launcher.jar Launcher.class && rm /tmp/Launcher*
WORKDIR /javaAction
ENTRYPOINT ["/bin/proxy"]
`,
    ),
    files: [
      {
        name: 'Launcher.java',
        text: 'public class Launcher { public static void main(String[] a) throws Exception { Class.forName(a[0]).getMethod("main", String[].class).invoke(null, (Object) new String[0]); } }\n',
      },
    ],
  });

/** Maven's own files and nothing else, where the images of Maven have them. */
export const mavenImage = (): Promise<string> =>
  baseImage('maven', {
    dockerfile: `${debian('maven', '', 'RUN cp -rL /usr/share/maven /maven')}
FROM busybox
COPY --from=0 /maven /usr/share/maven
`,
  });

/** A composer repository in a folder, made known in Composer's own settings as an operator would make a mirror known. */
const composerIndex: Context['files'] = [
  {
    name: 'index/packages.json',
    text: JSON.stringify({
      packages: {
        'sluice/greeting': {
          '1.2.0': {
            name: 'sluice/greeting',
            version: '1.2.0',
            dist: { type: 'path', url: '/srv/greeting', reference: '1' },
            'transport-options': { symlink: false },
            autoload: { 'psr-4': { 'Sluice\\Greeting\\': 'src/' } },
          },
        },
      },
    }),
  },
  {
    name: 'greeting/composer.json',
    text: '{"name":"sluice/greeting","autoload":{"psr-4":{"Sluice\\\\Greeting\\\\":"src/"}}}',
  },
  {
    name: 'greeting/src/Hello.php',
    text: "<?php\nnamespace Sluice\\Greeting;\nclass Hello { public static function say(): string { return 'hello'; } }\n",
  },
];

const composer = debian(
  'php-cli composer',
  '',
  `COPY index /srv/index
COPY greeting /srv/greeting
ENV COMPOSER_ALLOW_SUPERUSER=1
RUN composer config --global repo.packagist false && composer config --global repo.local composer file:///srv/index
`,
);

/** Another user than root, no folder of a runtime. */
export const phpBase = (): Promise<string> =>
  baseImage('php-plain', { dockerfile: `${composer}USER www-data\n`, files: composerIndex });

/** As OpenServerless' PHP: packages of its own, root. */
export const phpRuntimeBase = (): Promise<string> =>
  baseImage('php-runtime', {
    dockerfile: `${composer}RUN mkdir -p /phpAction/composer && printf '{"require":{"php":">=7"}}' >/phpAction/composer/composer.json
WORKDIR /phpAction
ENTRYPOINT ["/bin/proxy"]
`,
    files: composerIndex,
  });

/** An index of gems in a folder, made known in Bundler's own settings as an operator would make a mirror known. */
export const rubyBase = (): Promise<string> =>
  baseImage('ruby', {
    dockerfile: debian(
      'ruby ruby-bundler',
      '',
      `COPY greeting /srv/greeting
RUN mkdir -p /srv/gems/gems && cd /srv/greeting && gem build greeting.gemspec -o /srv/gems/gems/greeting-1.2.0.gem \\
 && gem generate_index --directory /srv/gems && bundle config set --global mirror.all file:///srv/gems
USER nobody
`,
    ),
    files: [
      {
        name: 'greeting/greeting.gemspec',
        text: "Gem::Specification.new { |s| s.name = 'greeting'; s.version = '1.2.0'; s.summary = 'greets'; s.authors = ['a']; s.files = ['lib/greeting.rb'] }\n",
      },
      { name: 'greeting/lib/greeting.rb', text: "module Greeting\n  HELLO = 'hello'\nend\n" },
    ],
  });

/** Knows how to extend itself; has no tool that a recipe would need. */
export const extendingBase = (): Promise<string> =>
  baseImage('extending', {
    dockerfile: `FROM busybox
COPY extend /bin/extend
COPY group /etc/group
RUN chmod 755 /bin/extend && touch /tmp/of-the-base
WORKDIR /action
ENTRYPOINT ["/bin/proxy"]
USER 1000:1000
`,
    files: [
      { name: 'group', text: 'root:x:0:\n' },
      {
        name: 'extend',
        text: '#!/bin/sh\nset -e\n[ "$(id -u)" = 0 ]\nmkdir -p /opt\ncp /tmp/requirements.txt /opt/extended\nrm /tmp/requirements.txt\ntouch /tmp/left /tmp/.hidden\n',
      },
    ],
  });

/** Has a shell and nothing else. */
export const emptyBase = (): Promise<string> =>
  baseImage('empty', { dockerfile: 'FROM busybox\nSHELL ["/no/such/shell"]\n' });
