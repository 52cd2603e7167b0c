//! Amounts of money as whole cents: no rounding error can creep in.

/// An amount in cents; negative is a debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cents(pub i64);

impl Cents {
    /// Shares an amount among `people` so that the parts differ by at most a cent and their sum is exact.
    pub fn split(self, people: usize) -> Vec<Cents> {
        let people_signed = people as i64;
        let (part, rest) = (
            self.0.div_euclid(people_signed),
            self.0.rem_euclid(people_signed),
        );
        (0..people_signed)
            .map(|i| Cents(part + i64::from(i < rest)))
            .collect()
    }
}

/// The largest number of days in a row on which the balance was below zero.
pub fn longest_overdraft(balances: &[Cents]) -> usize {
    let (mut run, mut longest) = (0, 0);
    for balance in balances {
        run = if balance.0 < 0 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
