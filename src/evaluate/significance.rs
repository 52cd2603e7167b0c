//! Whether a difference between two configurations is more than chance: paired over the same queries, with a fixed seed.

use super::metrics::{mean, percentile};

/// Resamples of each kind. With so many, a p of .05 is known to about ±.002.
const RESAMPLES: usize = 10_000;
/// Up to so many queries that differ, every assignment of signs is counted instead.
const EXACT_UP_TO: usize = 13;
/// Two runs say the same.
const SEED: u64 = 0x5eed_f100_d3a7_0001;

/// One figure of two configurations, over the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Mean of the first.
    pub first: f64,
    /// Mean of the second.
    pub second: f64,
    /// Second − first.
    pub difference: f64,
    /// The interval that holds the middle 95 % of the differences of resampled queries (percentile bootstrap, Efron 1979).
    pub interval: (f64, f64),
    /// How often a difference this large or larger comes about when each query's two figures are swapped by chance (two-sided
    /// randomisation test, Fisher 1935).
    pub p: f64,
}

/// Compares figures that belong together in pairs. Both must be of one length; of nothing, there is no difference.
pub fn compare(first: &[f64], second: &[f64]) -> Comparison {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    Comparison {
        first: mean(first),
        second: mean(second),
        difference: mean(&differences),
        interval: bootstrap(&differences),
        p: randomisation(&differences),
    }
}

fn bootstrap(differences: &[f64]) -> (f64, f64) {
    if differences.is_empty() {
        return (0.0, 0.0);
    }
    let mut random = Random(SEED);
    let count = differences.len();
    let means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..count).map(|_| differences[random.below(count)]).sum();
            sum / count as f64
        })
        .collect();
    (percentile(&means, 2.5), percentile(&means, 97.5))
}

fn randomisation(differences: &[f64]) -> f64 {
    // A query that makes no difference makes none with the other sign.
    let differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed = differences.iter().sum::<f64>().abs();
    // The same terms in the same order round the same; sums of other signs may not.
    let as_large = |sum: f64| sum.abs() >= observed - 1e-12;
    if differences.len() <= EXACT_UP_TO {
        let assignments = 1usize << differences.len();
        let large = (0..assignments).filter(|signs| {
            let signed = |(i, d): (usize, &f64)| if signs >> i & 1 == 1 { -d } else { *d };
            as_large(differences.iter().enumerate().map(signed).sum())
        });
        return large.count() as f64 / assignments as f64;
    }
    let mut random = Random(!SEED);
    let mut large = 0;
    for _ in 0..RESAMPLES {
        let mut sum = 0.0;
        for block in differences.chunks(64) {
            let mut signs = random.next();
            for difference in block {
                sum += if signs & 1 == 1 {
                    -difference
                } else {
                    *difference
                };
                signs >>= 1;
            }
        }
        large += usize::from(as_large(sum));
    }
    // The observed assignment is one of those that may come about.
    (large + 1) as f64 / (RESAMPLES + 1) as f64
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_queries_are_counted_exactly() {
        // Five times the same gain: of 2⁵ assignments of signs only all + and all − are as large.
        let same = compare(&[0.0; 5], &[0.5; 5]);
        assert_eq!(same.p, 2.0 / 32.0);
        assert_eq!(same.interval, (0.5, 0.5));
        // +1 +1 −1: every assignment has a sum of at least 1.
        assert_eq!(compare(&[0.0, 0.0, 1.0], &[1.0, 1.0, 0.0]).p, 1.0);
        // +1 +2: |sum| ≥ 3 for two of four.
        assert_eq!(compare(&[0.0, 0.0], &[1.0, 2.0]).p, 0.5);
    }

    #[test]
    fn no_difference_is_not_significant() {
        let values: Vec<f64> = (0..300).map(|i| f64::from(i % 7) / 7.0).collect();
        let none = compare(&values, &values);
        assert_eq!(
            (none.difference, none.p, none.interval),
            (0.0, 1.0, (0.0, 0.0))
        );
        let nothing = compare(&[], &[]);
        assert_eq!((nothing.difference, nothing.p), (0.0, 1.0));
    }

    #[test]
    fn many_queries_agree_with_the_normal_approximation() {
        // 60 queries win .1 and 40 lose it: z = 20 ÷ √100 = 2 for the sum of signs; the two-sided tail of the binomial at
        // ≥ 60 of 100 is .0569.
        let first = vec![0.5; 100];
        let second: Vec<f64> = (0..100).map(|i| if i < 60 { 0.6 } else { 0.4 }).collect();
        let found = compare(&first, &second);
        assert!((found.difference - 0.02).abs() < 1e-12);
        assert!((found.p - 0.0569).abs() < 0.01, "{}", found.p);
        // 0.02 ± 1.96 · √(.0096/100): .0008 to .0392, in steps of .002
        let (low, high) = found.interval;
        assert!(
            (low - 0.0).abs() < 0.0041 && (high - 0.04).abs() < 0.0041,
            "{low} {high}"
        );
    }

    #[test]
    fn the_same_question_gets_the_same_answer() {
        let first: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let second: Vec<f64> = (0..200).map(|i| f64::from(i * 53 % 101) / 101.0).collect();
        assert_eq!(compare(&first, &second), compare(&first, &second));
    }
}
