import { integer } from '@sluice/shared/config';

/** Variables of whatever performs runs. */
export const supervisorVariables = {
  SLUICE_OUTPUT_LIMIT: integer({
    why: 'Bytes that one run or call may upload together; past it the run fails with output_too_large, before anything is uploaded.',
    min: 1024,
    max: 1_125_899_906_842_624,
    fallback: 107_374_182_400,
  }),
};

/** Variables of whatever hosts warm runners. */
export const runnerVariables = {
  SLUICE_CALL_RESPONSE_LIMIT: integer({
    why: 'Bytes that the answer to a /run call may have; larger results belong into an output path.',
    min: 1024,
    max: 1_073_741_824,
    fallback: 67_108_864,
  }),
  SLUICE_CALL_RESPONSE_MEMORY: integer({
    why: 'Bytes that all answers to /run calls in hand may take together; past it callers get 503. Never less than twice SLUICE_CALL_RESPONSE_LIMIT.',
    min: 1_048_576,
    max: 17_179_869_184,
    fallback: 268_435_456,
  }),
};
