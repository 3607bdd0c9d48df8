// Data in a notebook, requested through the messages of a Jupyter widget.

import { type Numbers, numbers, type Source } from "./source";
import type { BlockShape, Diagnosis, Entry, Meta } from "./types";

/** The part of anywidget's model that is used here. */
export interface WidgetModel {
  send(message: Question): void;
  on(event: "msg:custom", heard: (answer: Answer, buffers: DataView[]) => void): void;
  off(event: "msg:custom", heard: (answer: Answer, buffers: DataView[]) => void): void;
}

interface Question {
  id: number;
  ask: "entries" | "meta" | "diagnosis" | "block";
  recording?: string;
  row?: number;
  name?: string;
}

/** `error` is a sentence for the user. A block arrives as the first buffer: its raw bytes, little endian. */
interface Answer {
  id: number;
  json?: unknown;
  error?: string;
}

interface Reply {
  json: unknown;
  bytes: DataView | undefined;
}

interface Waiting {
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
}

export class WidgetSource implements Source {
  private readonly waiting = new Map<number, Waiting>();
  // Two views of one widget receive each other's responses, so their request numbers must differ.
  private asked = Math.floor(Math.random() * 2 ** 31) * 2 ** 20;

  constructor(private readonly model: WidgetModel) {
    model.on("msg:custom", this.hear);
  }

  /** Stop listening. */
  close(): void {
    this.model.off("msg:custom", this.hear);
  }

  entries(): Promise<Entry[]> {
    return this.json({ ask: "entries" });
  }

  meta(id: string): Promise<Meta> {
    return this.json({ ask: "meta", recording: id });
  }

  diagnosis(id: string): Promise<Diagnosis> {
    return this.json({ ask: "diagnosis", recording: id });
  }

  async block(id: string, row: number, name: string, shape: BlockShape): Promise<Numbers> {
    const { bytes } = await this.ask({ ask: "block", recording: id, row, name });
    if (!bytes) throw new Error(`The notebook sent no data for "${name}".`);
    // A copy, because a number in a message may not be aligned for its type.
    return numbers(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice().buffer, shape);
  }

  private async json<T>(question: Omit<Question, "id">): Promise<T> {
    return (await this.ask(question)).json as T;
  }

  private ask(question: Omit<Question, "id">): Promise<Reply> {
    const id = this.asked++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.model.send({ id, ...question });
    });
  }

  private readonly hear = (answer: Answer, buffers: DataView[]): void => {
    const waiting = this.waiting.get(answer.id);
    // The request may be that of another view of the same widget.
    if (!waiting) return;
    this.waiting.delete(answer.id);
    if (answer.error !== undefined) waiting.reject(new Error(answer.error));
    else waiting.resolve({ json: answer.json, bytes: buffers[0] });
  };
}
