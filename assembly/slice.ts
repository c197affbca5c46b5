// Long work in slices. A driver that may run for more than a few milliseconds keeps where it stands at the head of its
// working memory and returns MORE when it has done a slice's worth of arithmetic; called again with the same arguments, it
// goes on. So a worker gets back to its messages, and progress and abort need no shared memory. Where memory is shared,
// the stop word ends a slice early.
//
// Head: f64 done (operations so far, for progress), i32 stop (not 0: end), i32 cursor[0…12].

/** What a sliced driver returns: called again it goes on; it found the stop word set. Other results are >= 0. */
export const MORE: i32 = -1;
export const STOPPED: i32 = -2;

/** Bytes of a head. */
export const HEAD_BYTES: usize = 64;

/** Operations of a slice: below ten milliseconds where memory bounds the speed, and no slower for it. */
let sliceOperations: f64 = 3e7;

/** Another length for this instance's slices; with 0 every call makes one step. */
export function setSlice(operations: f64): void {
  sliceOperations = operations;
}

/** For a driver that runs others, each with slices of its own. */
export function sliceLength(): f64 {
  return sliceOperations;
}

let left: f64 = 0;
let current: usize = 0;

/** Readies a head for a driver's first call. */
export function begin(head: usize): void {
  memory.fill(head, 0, HEAD_BYTES);
}

/** Opens a slice. */
export function openSlice(head: usize): void {
  current = head;
  left = sliceOperations;
}

/** What is left of the slice: for a driver that opens other slices inside it and then this one again. */
export function remaining(): f64 {
  return left;
}

export function reopenSlice(head: usize, rest: f64): void {
  current = head;
  left = rest;
}

/** Counts `operations` as done; true if the slice is over. Every driver makes at least one step a call. */
export function spend(operations: f64): bool {
  left -= operations;
  store<f64>(current, load<f64>(current) + operations);
  if (load<i32>(current, 8) != 0) left = 0;
  return left <= 0;
}

/** MORE, or STOPPED if the stop word was set. */
export function interrupted(): i32 {
  return load<i32>(current, 8) != 0 ? STOPPED : MORE;
}

/** Where a driver stands: a few integers that it names itself. */
// @ts-ignore: decorator
@inline export function cursor(head: usize, slot: i32): i32 {
  return load<i32>(head + 12 + ((<usize>slot) << 2));
}

// @ts-ignore: decorator
@inline export function setCursor(head: usize, slot: i32, value: i32): void {
  store<i32>(head + 12 + ((<usize>slot) << 2), value);
}
