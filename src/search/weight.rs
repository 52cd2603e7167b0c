//! What the vectors weigh against the words, where nobody says it: each arm by how much of the question it understands.
//!
//! Pure: numbers in, a number out. docs/decisions/0014-weight.md has the reasons and the measurements.

/// What the vectors weigh where the candidates are prose and both arms understand all of the query: neither has more to say.
pub const PROSE: f64 = 0.5;
/// The same where the candidates are source code, whose words are names that somebody made up.
pub const CODE: f64 = 0.8;

/// What a weight is told from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounds {
    /// How much of the query is in scripts that the model reads, 0 to 1.
    pub read: f64,
    /// How much of the query the best candidate has words for, 0 to 1.
    pub worded: f64,
    /// How many of the candidates are source code, 0 to 1.
    pub code: f64,
}

/// The weight of the vectors, 0 to 1; the words have the rest.
pub fn weight(grounds: Grounds) -> f64 {
    let share = |share: f64| {
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            1.0
        }
    };
    let dense = PROSE + (CODE - PROSE) * share(grounds.code);
    // A cosine is of two texts, and what answers the query is written as it is.
    let vectors = dense * share(grounds.read).powi(2);
    // Long questions hold words that no answer needs: half of them are worth more than half.
    let words = (1.0 - dense) * share(grounds.worded).sqrt();
    if vectors + words > 0.0 {
        vectors / (vectors + words)
    } else {
        dense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Grounds = Grounds {
        read: 1.0,
        worded: 1.0,
        code: 0.0,
    };

    #[test]
    fn an_arm_weighs_as_much_as_it_understands() {
        let of = |read, worded, code| weight(Grounds { read, worded, code });
        assert_eq!(weight(ALL), PROSE);
        assert_eq!(of(1.0, 1.0, 1.0), CODE);
        assert_eq!(of(0.0, 0.4, 0.0), 0.0, "a script that the model can't read");
        assert_eq!(of(1.0, 0.0, 1.0), 1.0, "no word of it is anywhere");
        assert_eq!(of(0.0, 0.0, 0.0), PROSE, "nothing is known");
        assert!((of(1.0, 0.25, 0.0) - 2.0 / 3.0).abs() < 1e-12);
        assert!((of(0.5, 1.0, 0.0) - 0.2).abs() < 1e-12);
        let nonsense = of(f64::NAN, -1.0, f64::INFINITY);
        assert!((0.0..=1.0).contains(&nonsense));
    }

    #[test]
    fn it_rises_with_what_the_model_reads_and_with_code_and_falls_with_words_that_are_there() {
        let steps = || (0..=10).map(|n| f64::from(n) / 10.0);
        let read: Vec<f64> = steps()
            .map(|read| weight(Grounds { read, ..ALL }))
            .collect();
        let worded: Vec<f64> = steps()
            .map(|worded| weight(Grounds { worded, ..ALL }))
            .collect();
        let code: Vec<f64> = steps()
            .map(|code| weight(Grounds { code, ..ALL }))
            .collect();
        assert!(read.is_sorted_by(|a, b| a < b), "{read:?}");
        assert!(worded.is_sorted_by(|a, b| a > b), "{worded:?}");
        assert!(code.is_sorted_by(|a, b| a < b), "{code:?}");
    }
}
