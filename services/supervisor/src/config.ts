import { integer } from '@sluice/shared/config';

/** Variables of whatever hosts warm runners. */
export const runnerVariables = {
  SLUICE_CALL_RESPONSE_LIMIT: integer({
    why: 'Bytes that the answer to a /run call may have; larger results belong into an output path.',
    min: 1024,
    max: 1_073_741_824,
    fallback: 67_108_864,
  }),
};
