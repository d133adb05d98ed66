/** What is ambient elsewhere (clock, randomness), as a value that `src/cli` makes and everybody receives. */
export interface Host {
  /** Milliseconds since the epoch. */
  now(): number;
  /** A name part that no other process or call uses: lower-case letters and digits. */
  unique(): string;
}
