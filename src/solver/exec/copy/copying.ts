/**
 * One COPY between its description and its layer.
 *
 * Files are read once: what the cache does not know is read into memory where it is little; else, where nothing
 * stands against it, the layer is packed before its key is known, and the digests that the key needs come from the
 * same pass (a layer that turns out to be there already is thrown away). Where only a few files have changed, packing
 * begins while the key is still being worked out.
 */
import { digestOf, type CacheKey, type Digest } from '../../../base/digest.ts';
import { canonicalJson, type Json } from '../../../base/json.ts';
import type { CopyOp, CopySource } from '../../../graph/ops.ts';
import type { LayerWriter } from '../../../layer/layer.ts';
import type { VertexContext } from '../../handler.ts';
import type { Listing } from '../../listing.ts';
import { identityOf, pushLayer, type StackResult } from '../../result.ts';
import { asJson } from '../../solve.ts';
import { carryOut, type CarriedOut } from './carry-out.ts';
import { isLittle, lookUpDigests, readContents } from './contents.ts';
import { digestSelection } from './digest.ts';
import type { Gathered } from './gathered.ts';
import type { CopyHandlerOptions } from './options.ts';
import { planCopy, type GatheredSource } from './plan-sources.ts';
import { gatherFrom, openSource, openStack, stackOf } from './sources.ts';

export interface Copying {
  /** What the sources contribute to the key. */
  readonly sources: readonly Json[];
  /** What was read of them now. */
  readonly listings: readonly Listing[];
  /** Keeps their digests, of stages that never change. */
  remember(): void;
  /** The layer, on top of the parent. */
  finish(): Promise<StackResult>;
  release(): Promise<void>;
}

interface Packed {
  readonly writer: LayerWriter;
  readonly carriedOut: CarriedOut;
  readonly warnings: readonly (readonly [string, string | undefined])[];
}

type PathSource = Extract<CopySource, { kind: 'paths' }>;

/** What is opened stays open until `release`, which must be called. */
export async function beginCopy(
  options: CopyHandlerOptions,
  context: VertexContext<CopyOp>,
): Promise<Copying> {
  const steps = new Steps(options, context);
  try {
    const { sources, listings } = await steps.describe();
    return {
      ...{ sources, listings },
      remember: () => steps.remember(),
      finish: () => steps.finish(),
      release: () => steps.release(),
    };
  } catch (error) {
    await steps.release();
    throw error;
  }
}

class Steps {
  readonly #options: CopyHandlerOptions;
  readonly #context: VertexContext<CopyOp>;
  readonly #gathered = new Map<CopySource, GatheredSource>();
  /** Of files in stages, by their question. */
  readonly #listed = new Map<CacheKey, Digest>();
  readonly #givenUp = new AbortController();
  #packed: Packed | undefined;
  #packing: Promise<Packed> | undefined;

  constructor(options: CopyHandlerOptions, context: VertexContext<CopyOp>) {
    this.#options = options;
    this.#context = context;
  }

  async describe(): Promise<Pick<Copying, 'sources' | 'listings'>> {
    const { op, inputs } = this.#context;
    const known = new Map<CopySource, Digest>();
    for (const source of op.sources) {
      if (source.kind !== 'paths') continue;
      const digest = this.#knownDigest(source);
      if (digest === undefined) await this.#gather(source);
      else known.set(source, digest);
    }
    await this.#readContents();
    const listings: Listing[] = [];
    const sources = op.sources.map((source): Json => {
      if (source.kind === 'inline') return { inline: source.name, content: digestOf(source.content) };
      const input = inputs[source.input];
      if (source.kind === 'whole') return { whole: input === undefined ? null : identityOf(input) };
      return { files: known.get(source) ?? this.#list(source, listings) };
    });
    return { sources, listings };
  }

  /** why: a committed stack never changes, so what was read in it once need not be mounted and read again. */
  #contentKey({ input, patterns }: PathSource): CacheKey | undefined {
    const result = this.#context.inputs[input];
    if (result?.kind !== 'stack') return undefined;
    const { chmod, owner, parents, excludes } = this.#context.op;
    const stack = identityOf(result);
    const question = { stack, patterns, chmod, owned: owner !== undefined, parents, excludes };
    return digestOf(canonicalJson(asJson(question))) as CacheKey;
  }

  #knownDigest(source: PathSource): Digest | undefined {
    const key = this.#contentKey(source);
    return key === undefined ? undefined : this.#options.records.getContentDigest(key);
  }

  async #gather(source: PathSource): Promise<void> {
    const { op, signal } = this.#context;
    const opened = await openSource(this.#options, this.#context, source.input);
    // why: what is opened must be known even where reading it fails, to be closed.
    this.#gathered.set(source, { source: opened, gathered: [] });
    const gathering = gatherFrom(opened, source.patterns, op, signal);
    // While the native walk runs, if there is one.
    opened.statCache?.load();
    const gathered = await gathering;
    this.#gathered.set(source, { source: opened, gathered });
  }

  #list(source: PathSource, listings: Listing[]): Digest {
    const found = this.#gathered.get(source);
    if (found === undefined) throw new TypeError('a source was not gathered');
    const listing = digestSelection(found.source.tree, found.gathered, this.#context.op, found.source);
    listings.push(listing);
    const key = this.#contentKey(source);
    if (key !== undefined) this.#listed.set(key, listing.digest);
    return listing.digest;
  }

  remember(): void {
    for (const [key, digest] of this.#listed) this.#options.records.putContentDigest(key, digest);
    this.#listed.clear();
  }

  /** Makes the digests of all files known. */
  async #readContents(): Promise<void> {
    const sources = [...this.#gathered.values()];
    const unknown = sources.map(({ source, gathered }) => lookUpDigests(source, gathered));
    const files = unknown.reduce((sum, each) => sum + each.files, 0);
    const bytes = unknown.reduce((sum, each) => sum + each.bytes, 0);
    if (files === 0) return;
    const isMuch = !isLittle({ files, bytes });
    // Asking loads what a small build does without.
    const maySpeculate = (isMuch || isLarge(sources)) && (await this.#maySpeculate());
    const packsFirst = maySpeculate && isMuch;
    if (packsFirst) {
      for (const [index, { source }] of sources.entries())
        source.statCache?.expect(unknown[index]?.files ?? 0);
      this.#packed = await this.#pack(true);
      if (this.#packed.carriedOut.learnt === files) return;
    }
    // What another source is put over was not packed.
    for (const [index, { source, gathered }] of sources.entries())
      await readContents(source, gathered, this.#context.signal, packsFirst ? undefined : unknown[index]);
    if (maySpeculate && !packsFirst) await this.#beginPacking();
  }

  /** why: a file changed, so that hardly any record fits; the native call works while the key is found out. */
  async #beginPacking(): Promise<void> {
    await new Promise<void>((started) => {
      this.#packing = this.#pack(false, started);
      // Whoever waits for it is told.
      this.#packing.catch(() => undefined).finally(started);
    });
  }

  /** Everything that is packed must have been gathered, and what it is packed onto must be there already. */
  async #maySpeculate(): Promise<boolean> {
    const { op, inputs } = this.#context;
    const { speculates, stacks } = this.#options;
    if (!speculates || op.unpack !== 'never') return false;
    const isGathered = op.sources.every((source) => source.kind !== 'paths' || this.#gathered.has(source));
    return isGathered && stacks.isAtHand(stackOf(inputs[0]));
  }

  /** `started` is called once nothing is left to do but to wait. */
  async #pack(wantsDigests: boolean, started?: () => void): Promise<Packed> {
    const { options, context } = { options: this.#options, context: this.#context };
    const { maxMtime, layers, earlier } = options;
    const warnings: (readonly [string, string | undefined])[] = [];
    await using opened = await openStack(options, stackOf(context.inputs[0]));
    using planned = await planCopy({
      options,
      context,
      parent: opened.tree,
      sources: this.#gathered,
      warn: (message, hint) => void warnings.push([message, hint]),
    });
    const sourceOf = new Map(
      [...this.#gathered.values()].flatMap(({ source, gathered }) =>
        gathered.map((each) => [each, source] as const),
      ),
    );
    const identity = this.#identity();
    const writer = layers.create();
    try {
      const carrying = carryOut(planned.plan, writer, {
        signal: AbortSignal.any([context.signal, this.#givenUp.signal]),
        ...(wantsDigests ? { source: (gathered: Gathered) => sourceOf.get(gathered) } : {}),
        ...(maxMtime === undefined ? {} : { maxMtime }),
        ...(earlier === undefined ? {} : { earlier }),
        ...(identity === undefined ? {} : { identity }),
        onPacking: context.onPacking,
      });
      started?.();
      const carriedOut = await carrying;
      return { writer, carriedOut, warnings };
    } catch (error) {
      writer[Symbol.dispose]();
      throw error;
    }
  }

  /** The same for the same COPY of the same context, whatever its files hold. */
  #identity(): Json | undefined {
    const { op } = this.#context;
    const sources: Json[] = [];
    for (const source of op.sources) {
      const identity = this.#gathered.get(source)?.source.identity;
      if (source.kind !== 'paths' || identity === undefined) return undefined;
      sources.push({ context: identity, patterns: [...source.patterns] });
    }
    return sources.length === 0 ? undefined : { sources, destination: op.destination };
  }

  async #packAll(): Promise<Packed> {
    for (const source of this.#context.op.sources)
      if (source.kind === 'paths' && !this.#gathered.has(source)) await this.#gather(source);
    return this.#pack(false);
  }

  async finish(): Promise<StackResult> {
    const { inputs, progress } = this.#context;
    const packed = (this.#packed ??= await (this.#packing ??= this.#packAll()));
    const layer = packed.writer.commit();
    this.#options.stacks.noteMade(layer.diffID);
    packed.carriedOut.keep(layer.diffID);
    for (const [message, hint] of packed.warnings) progress.warn(message, hint);
    return pushLayer(stackOf(inputs[0]), { diffID: layer.diffID, created: this.#options.now() });
  }

  async release(): Promise<void> {
    this.#givenUp.abort();
    // Whoever began it may have given up meanwhile.
    this.#packed ??= await this.#packing?.catch(() => undefined);
    this.#packed?.writer[Symbol.dispose]();
    this.#packed = undefined;
    for (const [source, { source: opened }] of [...this.#gathered].reverse()) {
      this.#gathered.delete(source);
      await opened[Symbol.asyncDispose]();
    }
  }
}

/** Entries from which on packing is worth beginning before it is known to be wanted. */
const LARGE = 1000;

function isLarge(sources: readonly GatheredSource[]): boolean {
  const listings = sources.flatMap(({ gathered }) => gathered.map(({ listing }) => listing.entries));
  return listings.reduce((sum, entries) => sum + entries, 0) > LARGE;
}
