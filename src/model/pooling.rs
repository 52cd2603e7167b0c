//! From a vector per token to a vector per text, over the text's own tokens, and to unit length.
//!
//! After Reimers & Gurevych 2019; the modes are those of sentence-transformers' `1_Pooling/config.json`, several of
//! which may be asked for at once: their results stand one behind the other.

use std::fmt;

use ndarray::{Array1, ArrayView2};
use serde_json::Value;

/// One way to make one vector of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The first token's vector.
    Cls,
    /// The greatest of each component.
    Max,
    /// The average.
    Mean,
    /// The sum, divided by the square root of the number of tokens.
    MeanSqrtLen,
    /// The average, where the k-th token counts k times.
    WeightedMean,
    /// The last token's vector.
    LastToken,
}

/// The modes that a model asks for, in the order in which sentence-transformers concatenates them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling(Vec<Mode>);

/// Name in the configuration and mode, in the order of concatenation.
const MODES: [(&str, &str, Mode); 6] = [
    ("cls", "pooling_mode_cls_token", Mode::Cls),
    ("max", "pooling_mode_max_tokens", Mode::Max),
    ("mean", "pooling_mode_mean_tokens", Mode::Mean),
    (
        "mean_sqrt_len_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        Mode::MeanSqrtLen,
    ),
    (
        "weightedmean",
        "pooling_mode_weightedmean_tokens",
        Mode::WeightedMean,
    ),
    ("lasttoken", "pooling_mode_lasttoken", Mode::LastToken),
];

impl Default for Pooling {
    /// What sentence-transformers takes for a folder that says nothing: the mean.
    fn default() -> Self {
        Self(vec![Mode::Mean])
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mode) in self.0.iter().enumerate() {
            let name = MODES
                .iter()
                .find(|(_, _, known)| known == mode)
                .map_or("", |(name, _, _)| name);
            write!(f, "{}{name}", if number == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl Pooling {
    /// Reads `1_Pooling/config.json`: flags such as `pooling_mode_cls_token`, or one `pooling_mode`, a name or a list.
    pub(crate) fn from_config(config: &Value) -> Result<Self, String> {
        let named: Vec<&str> = match config.get("pooling_mode") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let known = || MODES.map(|(name, _, _)| name).join(", ");
        if let Some(unknown) = named
            .iter()
            .find(|name| MODES.iter().all(|(known, _, _)| known != *name))
        {
            return Err(format!(
                "pooling_mode {unknown:?} is not known; known are {}",
                known()
            ));
        }
        let flagged = |flag| config.get(flag).and_then(Value::as_bool).unwrap_or(false);
        let modes: Vec<Mode> = MODES
            .iter()
            .filter(|(name, flag, _)| named.contains(name) || (named.is_empty() && flagged(*flag)))
            .map(|(_, _, mode)| *mode)
            .collect();
        if modes.is_empty() {
            return Err(format!("names no pooling mode; known are {}", known()));
        }
        Ok(Self(modes))
    }

    /// `[tokens, d]`, at least one token, padding left out by the caller → `[d × modes]`.
    pub(crate) fn pool(&self, tokens: ArrayView2<'_, f32>) -> Vec<f32> {
        self.0.iter().flat_map(|mode| mode.pool(tokens)).collect()
    }
}

impl Mode {
    /// Rows are added from the first to the last, so that a text's sum is rounded the same in every batch.
    fn pool(self, tokens: ArrayView2<'_, f32>) -> Array1<f32> {
        let (count, dimension) = tokens.dim();
        let weighted_sum = |weight: fn(usize) -> f32| {
            tokens.rows().into_iter().enumerate().fold(
                Array1::zeros(dimension),
                |mut sum: Array1<f32>, (k, row)| {
                    sum.scaled_add(weight(k), &row);
                    sum
                },
            )
        };
        match self {
            Self::Cls => tokens.row(0).to_owned(),
            Self::LastToken => tokens.row(count - 1).to_owned(),
            Self::Max => tokens.rows().into_iter().fold(
                Array1::from_elem(dimension, f32::NEG_INFINITY),
                // NaN wins over any number: it must not vanish here
                |max, row| {
                    ndarray::Zip::from(&max)
                        .and(&row)
                        .map_collect(|&a, &b| if a > b || a.is_nan() { a } else { b })
                },
            ),
            Self::Mean => weighted_sum(|_| 1.0) / count as f32,
            Self::MeanSqrtLen => weighted_sum(|_| 1.0) / (count as f32).sqrt(),
            Self::WeightedMean => {
                weighted_sum(|k| (k + 1) as f32) / (count * (count + 1)) as f32 * 2.0
            }
        }
    }
}

/// Scales to length one, or says what is wrong with the vector.
pub(crate) fn normalise(vector: &mut [f32]) -> Result<(), &'static str> {
    // f64, because the squares of large components can overflow f32 where the vector itself is fine
    let length = vector
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum::<f64>()
        .sqrt();
    if !length.is_finite() {
        return Err("it holds NaN or infinity");
    }
    if length < 1e-12 {
        return Err("its length is zero");
    }
    for x in vector {
        *x = (f64::from(*x) / length) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use serde_json::json;

    fn check(config: Value, expected: &[f32]) {
        let tokens = array![[1.0, -2.0], [3.0, 4.0], [5.0, 1.0], [7.0, -3.0]];
        let found = Pooling::from_config(&config).unwrap().pool(tokens.view());
        assert_eq!(found.len(), expected.len(), "{config}");
        for (a, b) in found.iter().zip(expected) {
            assert!(
                (a - b).abs() < 1e-6,
                "{config}: {found:?}, expected {expected:?}"
            );
        }
    }

    #[test]
    fn every_mode_equals_its_hand_computed_value() {
        check(json!({"pooling_mode_cls_token": true}), &[1.0, -2.0]);
        check(json!({"pooling_mode_max_tokens": true}), &[7.0, 4.0]);
        check(json!({"pooling_mode_mean_tokens": true}), &[4.0, 0.0]);
        check(
            json!({"pooling_mode_mean_sqrt_len_tokens": true}),
            &[8.0, 0.0],
        );
        // (1·1 + 2·3 + 3·5 + 4·7) / 10, (1·−2 + 2·4 + 3·1 + 4·−3) / 10
        check(
            json!({"pooling_mode_weightedmean_tokens": true}),
            &[5.0, -0.3],
        );
        check(json!({"pooling_mode_lasttoken": true}), &[7.0, -3.0]);
    }

    #[test]
    fn several_modes_are_concatenated_in_the_libraries_order() {
        check(
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
            &[1.0, -2.0, 4.0, 0.0],
        );
        check(json!({"pooling_mode": "max"}), &[7.0, 4.0]);
        check(
            json!({"pooling_mode": ["mean", "max"]}),
            &[7.0, 4.0, 4.0, 0.0],
        );
    }

    #[test]
    fn a_configuration_without_a_known_mode_is_refused() {
        let none = Pooling::from_config(&json!({"pooling_mode_mean_tokens": false})).unwrap_err();
        assert!(none.contains("no pooling mode"), "{none}");
        let unknown = Pooling::from_config(&json!({"pooling_mode": "median"})).unwrap_err();
        assert!(unknown.contains("median"), "{unknown}");
    }

    #[test]
    fn nan_survives_every_mode_and_is_refused_at_the_end() {
        let tokens = array![[1.0, 2.0], [f32::NAN, 1.0], [0.5, 3.0]];
        for mode in [Mode::Max, Mode::Mean, Mode::MeanSqrtLen, Mode::WeightedMean] {
            let mut pooled = mode.pool(tokens.view()).to_vec();
            assert!(normalise(&mut pooled).is_err(), "{mode:?} lost a NaN");
        }
    }

    #[test]
    fn unit_length_or_a_reason() {
        let mut vector = [3.0, 4.0];
        normalise(&mut vector).unwrap();
        assert_eq!(vector, [0.6, 0.8]);
        let mut large = [3e38, 0.0];
        normalise(&mut large).unwrap();
        assert_eq!(large, [1.0, 0.0]);
        assert_eq!(normalise(&mut [0.0, 0.0]), Err("its length is zero"));
        assert_eq!(
            normalise(&mut [f32::INFINITY, 0.0]),
            Err("it holds NaN or infinity")
        );
    }
}
