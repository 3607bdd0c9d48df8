// The remainder of each step's write, over the steps.

import { scaleLinear } from "d3-scale";
import { useRef } from "preact/hooks";
import { type Axis, LEFT, RIGHT } from "../../components/axis";
import { useSize } from "../../components/useSize";
import { short } from "../../format";
import type { Account } from "./account";
import { barsOf, extent, pathOf } from "./columns";

const TOP = 12;
const BOTTOM = 18;

interface Props {
  account: Account;
  axis: Axis;
  /** Whether to show the original writes behind the remainders. */
  ghosts: boolean;
  /** Name of what is split. */
  name: string;
}

/** As high as the container. */
export function Bars(props: Props) {
  const root = useRef<HTMLDivElement>(null);
  const { height } = useSize(root).value;
  return (
    <div ref={root} class="gw-ledger-room">
      {height > 0 && <Drawn {...props} height={height} />}
    </div>
  );
}

function Drawn({ account, axis, ghosts, name, height }: Props & { height: number }) {
  const width = axis.width.value;
  const bars = barsOf(account, axis, ghosts);
  const apart = otherParts(account);
  const y = scaleLinear(
    extent(
      bars,
      apart.map(({ value }) => value),
    ),
    [height - BOTTOM, TOP],
  );
  const at = axis.x(account.query + 0.5);
  return (
    <svg
      class="gw-ledger-bars"
      width={LEFT + width + RIGHT}
      height={height}
      role="img"
      aria-label={`What is left at step ${account.query} of what each step wrote into ${name}`}
    >
      {y.ticks(5).map((tick) => (
        <g>
          <path
            class={tick === 0 ? "gw-ledger-zero" : "gw-ledger-grid"}
            d={`M${LEFT - 26} ${y(tick)}H${LEFT + width}`}
          />
          <text class="gw-ledger-tick" x={LEFT - 30} y={y(tick) + 3.5}>
            {short(tick)
              .replace(/(\.\d*?)0+$/, "$1")
              .replace(/\.$/, "")}
          </text>
        </g>
      ))}
      <OtherParts apart={apart} y={y} height={height} />
      <svg x={LEFT} width={width} height={height}>
        {ghosts && (
          <>
            <path class="gw-ledger-ghost" data-sign="up" d={pathOf(bars, "written", 0, y)} />
            <path class="gw-ledger-ghost" data-sign="down" d={pathOf(bars, "written", 1, y)} />
          </>
        )}
        <path class="gw-ledger-left" data-sign="up" d={pathOf(bars, "left", 0, y)} />
        <path class="gw-ledger-left" data-sign="down" d={pathOf(bars, "left", 1, y)} />
        {account.query !== axis.state.t.value && <path class="gw-ledger-query" d={`M${at} 0V${height}`} />}
        <Unread account={account} axis={axis} />
        <path class="gw-ledger-flag" d={`M${at - 5} 0h10l-5 7z`} />
      </svg>
    </svg>
  );
}

/** Width of the label in pixels. */
const WORDS = 150;

/** A label over the steps that the layer has not read yet at the query. */
function Unread({ account, axis }: { account: Account; axis: Axis }) {
  const ahead = account.direction === "forward";
  const edge = axis.x(account.query + (ahead ? 1 : 0));
  const [from, to] = ahead ? [Math.max(0, edge), axis.width.value] : [0, Math.min(axis.width.value, edge)];
  if (to - from < WORDS) return null;
  return (
    <text class="gw-ledger-unread" x={(from + to) / 2} y={28}>
      not read yet at step {account.query.toLocaleString("en")}
    </text>
  );
}

interface OtherPart {
  name: string;
  value: number;
}

/** Parts that no step wrote, drawn separately on the left. */
function otherParts({ initial, edited, rest, others, bias, written }: Account): OtherPart[] {
  const all = [{ name: "start", value: initial }];
  if (edited !== 0) all.push({ name: "by hand", value: edited });
  // By their sum, which is one bar: there is no room for more.
  if (rest + others !== 0) all.push({ name: "rest", value: rest + others });
  if (!written) all.push({ name: "bias", value: bias });
  return all;
}

const WIDE = 7;

function OtherParts({
  apart,
  y,
  height,
}: {
  apart: readonly OtherPart[];
  y: (value: number) => number;
  height: number;
}) {
  const zero = y(0);
  return (
    <>
      {apart.map(({ name, value }, place) => {
        const x = LEFT - 24 + place * (WIDE + 1);
        const end = y(value);
        return (
          <g data-apart={name} data-value={value}>
            <title>{`${name}: ${short(value)}`}</title>
            <rect
              class="gw-ledger-apart"
              x={x}
              width={WIDE}
              y={Math.min(zero, end)}
              height={Math.max(0.75, Math.abs(end - zero))}
            />
          </g>
        );
      })}
      <text class="gw-ledger-apart-name" x={0} y={height - 4}>
        {apart.map(({ name }) => name).join(", ")}
      </text>
    </>
  );
}
