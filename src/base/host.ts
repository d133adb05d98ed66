/** What is ambient elsewhere (clock, randomness), as a value that `src/cli` makes and everybody receives. */
export interface Host {
  /** Milliseconds since the epoch. */
  now(): number;
  /** A file name that no other process or call uses, and that tells its owner (see owner.ts). */
  unique(): string;
}
