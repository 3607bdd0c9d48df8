// Sources of the page's data: a server on this machine, the page's own file, or a notebook.

import type { BlockShape, Diagnosis, Entry, Meta, WhatIf } from "./types";

export type Numbers = Float32Array | Float64Array | Int32Array;

/** The interface of all sources. A rejected promise has a message for the user. */
export interface Source {
  /** The available recordings: checkpoints in the order of training, or just one. */
  entries(): Promise<Entry[]>;
  meta(id: string): Promise<Meta>;
  diagnosis(id: string): Promise<Diagnosis>;
  block(id: string, row: number, name: string, shape: BlockShape): Promise<Numbers>;
  /** Run the model with changes; returns the id of the new recording. Absent where no model can be run. */
  whatIf?(id: string, asked: WhatIf): Promise<string>;
  /** Call back when there are new entries; returns a function that stops it. Absent where nothing changes. */
  watch?(changed: () => void): () => void;
}

export function numbers(bytes: ArrayBuffer, shape: BlockShape): Numbers {
  const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array };
  return new kinds[shape.dtype](bytes);
}

/** Fetches from the server of the page; `base` ends with the token and a slash. */
export class ServedSource implements Source {
  constructor(private readonly base: string) {}

  entries(): Promise<Entry[]> {
    return this.json("recordings");
  }

  meta(id: string): Promise<Meta> {
    return this.json(`recordings/${id}/meta`);
  }

  diagnosis(id: string): Promise<Diagnosis> {
    return this.json(`recordings/${id}/diagnosis`);
  }

  async block(id: string, row: number, name: string, shape: BlockShape): Promise<Numbers> {
    const answer = await this.fetch(`recordings/${id}/rows/${row}/${name}`);
    return numbers(await answer.arrayBuffer(), shape);
  }

  async whatIf(id: string, asked: WhatIf): Promise<string> {
    const answer = await this.fetch(`recordings/${id}/whatif`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(asked),
    });
    return ((await answer.json()) as { id: string }).id;
  }

  watch(changed: () => void): () => void {
    const events = new EventSource(`${this.base}events`);
    events.onmessage = changed;
    return () => events.close();
  }

  private async json<T>(path: string): Promise<T> {
    return (await (await this.fetch(path)).json()) as T;
  }

  private async fetch(path: string, options?: RequestInit): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(this.base + path, options);
    } catch {
      throw new Error("The program that serves this page has stopped. Run `gatewright look` again.");
    }
    if (!answer.ok) throw new Error(await said(answer));
    return answer;
  }
}

async function said(answer: Response): Promise<string> {
  try {
    return ((await answer.json()) as { error: string }).error;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

/** Reads the data that `html.py` embedded in the page: JSON, and blocks as deflated byte planes in base64. */
export class EmbeddedSource implements Source {
  constructor(private readonly root: ParentNode) {}

  entries(): Promise<Entry[]> {
    return this.json("entries");
  }

  meta(id: string): Promise<Meta> {
    return this.json(`${id}/meta`);
  }

  diagnosis(id: string): Promise<Diagnosis> {
    return this.json(`${id}/diagnosis`);
  }

  async block(id: string, row: number, name: string, shape: BlockShape): Promise<Numbers> {
    const packed = fromBase64(this.text(`${id}/rows/${row}/${name}`));
    const stream = packed.stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    return numbers(interleaved(planes, shape.dtype === "f8" ? 8 : 4).buffer as ArrayBuffer, shape);
  }

  private async json<T>(name: string): Promise<T> {
    return JSON.parse(this.text(name)) as T;
  }

  private text(name: string): string {
    const found = this.root.querySelector(`script[data-name="${CSS.escape(name)}"]`);
    if (!found) throw new Error(`This page has no "${name}".`);
    return found.textContent ?? "";
  }
}

function fromBase64(text: string): Blob {
  // Newer browsers have a built-in decoder, which is five times as fast.
  const { fromBase64: decode } = Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  if (decode) return new Blob([decode.call(Uint8Array, text)]);
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let k = 0; k < binary.length; k++) bytes[k] = binary.charCodeAt(k);
  return new Blob([bytes]);
}

/** Join the byte planes: the file has the first bytes of all numbers, then all second bytes, and so on. */
function interleaved(planes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const count = planes.length / size;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < size; plane++) {
    const first = plane * count;
    for (let k = 0; k < count; k++) bytes[k * size + plane] = planes[first + k];
  }
  return bytes;
}
