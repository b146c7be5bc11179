import { describeObjectStore } from '../../src/testing/object-store.suite.ts';
import { openFolderFixture } from './folder-fixture.ts';

describeObjectStore('folders', async () => openFolderFixture());
