/** Volumes as lists and templates show them. Columns: docker/cli, formatter/volume.go. */
import type { Volume } from '../../engine/volumes.ts';
import type { ListView } from '../format/rows.ts';
import { mapOf, type Struct, type Value } from '../format/values.ts';
import { decimalSize, labelText } from './words.ts';

export const VOLUME_LIST: ListView = {
  headings: {
    Availability: 'AVAILABILITY',
    Driver: 'DRIVER',
    Group: 'GROUP',
    Labels: 'LABELS',
    Links: 'LINKS',
    Mountpoint: 'MOUNTPOINT',
    Name: 'VOLUME NAME',
    Scope: 'SCOPE',
    Size: 'SIZE',
    Status: 'STATUS',
  },
  table: '{{.Driver}}\t{{.Name}}',
  quiet: 'Name',
};

/** Size and links cost a walk and are asked for alone. */
export function volumeRow(
  volume: Volume,
  measured?: { readonly size: number; readonly links: number },
): Struct {
  const { name, mountpoint, labels } = volume;
  return {
    Availability: 'N/A',
    Driver: 'local',
    Group: 'N/A',
    Labels: labelText(labels),
    Label: (label) => (typeof label === 'string' && Object.hasOwn(labels, label) ? labels[label] : ''),
    Links: measured === undefined ? 'N/A' : String(measured.links),
    Mountpoint: mountpoint,
    Name: name,
    Scope: 'local',
    Size: measured === undefined ? 'N/A' : decimalSize(measured.size),
    Status: 'N/A',
  };
}

export function inspectedVolume({ name, mountpoint, created, labels, options }: Volume): Value {
  const map = (record: Readonly<Record<string, string>>): Value =>
    Object.keys(record).length === 0 ? null : mapOf(record);
  return {
    CreatedAt: created,
    Driver: 'local',
    Labels: map(labels),
    Mountpoint: mountpoint,
    Name: name,
    Options: map(options),
    Scope: 'local',
  };
}
