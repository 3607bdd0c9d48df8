// A menu in the header.

interface Props {
  name: string;
  options: string[];
  chosen: number;
  choose: (index: number) => void;
}

export function Choice({ name, options, chosen, choose }: Props) {
  return (
    <select
      class="gw-select"
      aria-label={name}
      title={name}
      value={chosen}
      onChange={(event) => choose(Number(event.currentTarget.value))}
    >
      {options.map((option, k) => (
        <option key={k} value={k}>
          {option}
        </option>
      ))}
    </select>
  );
}
