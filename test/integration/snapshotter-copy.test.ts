import { describeSnapshotter } from '../suites/snapshotter-suite.ts';

describeSnapshotter('copy');
