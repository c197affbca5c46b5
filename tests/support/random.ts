// Seeded random numbers: LAPACK's generator (xLARAN), x <- 33952834046453·x mod 2^48, so that a matrix of LAPACK's test
// programs can be drawn here and everywhere in the same way. The state is four digits to base 4096.

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** The last digit of the state is made odd, as the generator needs it. */
  constructor(seed: number) {
    this.#a = 1988;
    this.#b = Math.floor(seed / 2 ** 23) & 4095;
    this.#c = Math.floor(seed / 2 ** 11) & 4095;
    this.#d = ((seed << 1) | 1) & 4095;
    // seeds that lie close together start far apart
    for (let i = 0; i < 8; i++) this.uniform();
  }

  /** In (0, 1). */
  uniform(): number {
    let d = this.#d * 2549;
    let c = d >>> 12;
    d &= 4095;
    c += this.#c * 2549 + this.#d * 2508;
    let b = c >>> 12;
    c &= 4095;
    b += this.#b * 2549 + this.#c * 2508 + this.#d * 322;
    let a = b >>> 12;
    b &= 4095;
    a = (a + this.#a * 2549 + this.#b * 2508 + this.#c * 322 + this.#d * 494) & 4095;
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    return (a + (b + (c + d / 4096) / 4096) / 4096) / 4096;
  }

  /** In (-1, 1). */
  symmetric(): number {
    return 2 * this.uniform() - 1;
  }

  /** Mean 0, variance 1 (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** 1 or -1. */
  sign(): number {
    return this.uniform() < 0.5 ? -1 : 1;
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor(n * this.uniform());
  }

  /** n numbers of one distribution. */
  array(n: number, distribution: "uniform" | "symmetric" | "normal" = "symmetric"): Float64Array {
    return Float64Array.from({ length: n }, () => this[distribution]());
  }
}
