/**
 * Aborted by Ctrl-C and SIGTERM: the command that is measured ends, which ends the bench as a failure does, with all that it
 * mounted and started. Whoever runs commands synchronously is told between them.
 */
const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => controller.abort(new Error(`ended by ${signal}`)));

export const stopped: AbortSignal = controller.signal;
