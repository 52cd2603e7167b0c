//! The vectors of a text's tokens in 8 bits a number.

use ndarray::{Array2, ArrayView2};

/// Bytes of the factor before each token's numbers.
const FACTOR: usize = size_of::<f32>();
/// The greatest number of a token becomes this, or minus this.
const GREATEST: f32 = 127.0;

/// `[tokens, d]`: each token a factor and `d` numbers from −127 to 127 that it is multiplied with. No number is off by more than half the factor,
/// which is the greatest of the token's numbers ÷ 127.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    dimension: usize,
    /// A token after the other: the factor, little-endian, and the numbers.
    bytes: Vec<u8>,
}

impl Quantised {
    /// Rounds `[tokens, d]`. `None`: a number is not finite, or `d` is 0.
    pub fn of(vectors: ArrayView2<'_, f32>) -> Option<Self> {
        let dimension = vectors.ncols();
        if dimension == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(vectors.nrows() * (FACTOR + dimension));
        for token in vectors.rows() {
            let greatest = token.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            if !token.iter().all(|x| x.is_finite()) {
                return None;
            }
            let factor = greatest / GREATEST;
            // The least numbers have no inverse; a token of them is one of zeros.
            let inverse = Some(1.0 / factor).filter(|inverse| inverse.is_finite());
            bytes.extend(inverse.map_or(0.0, |_| factor).to_le_bytes());
            let inverse = inverse.unwrap_or(0.0);
            bytes.extend(
                token
                    .iter()
                    .map(|x| ((x * inverse).round() as i8).cast_unsigned()),
            );
        }
        Some(Self { dimension, bytes })
    }

    /// The inverse of [`Self::dimension`] and [`Self::bytes`]. `None`: the bytes are no whole tokens.
    pub fn from_bytes(dimension: usize, bytes: Vec<u8>) -> Option<Self> {
        let whole = dimension > 0 && bytes.len().is_multiple_of(FACTOR + dimension);
        whole.then_some(Self { dimension, bytes })
    }

    /// The vectors, `[tokens, d]`.
    pub fn vectors(&self) -> Array2<f32> {
        let tokens = self.bytes.chunks_exact(FACTOR + self.dimension);
        let mut numbers = Vec::with_capacity(tokens.len() * self.dimension);
        for token in tokens.clone() {
            let (factor, token) = token.split_at(FACTOR);
            let factor = factor.try_into().map_or(0.0, f32::from_le_bytes);
            numbers.extend(token.iter().map(|x| f32::from(x.cast_signed()) * factor));
        }
        // Always of this shape: both are counted above.
        Array2::from_shape_vec((tokens.len(), self.dimension), numbers)
            .unwrap_or_else(|_| Array2::zeros((0, self.dimension)))
    }

    /// Numbers of a token.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How they lie on the disk: 4 + d bytes a token.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn no_number_is_off_by_more_than_half_a_step() {
        let vectors = array![
            [1.0_f32, -0.5, 0.25, 0.123],
            [-300.0, 299.0, 0.0, 1.1],
            [0.0, 0.0, 0.0, 0.0],
            [1e-42, -1e-42, 0.0, 0.0],
        ];
        let rounded = Quantised::of(vectors.view()).unwrap();
        assert_eq!(rounded.bytes().len(), 4 * (4 + 4));
        let back = rounded.vectors();
        for (before, after) in vectors.rows().into_iter().zip(back.rows()) {
            let greatest = before.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (x, y) in before.iter().zip(after) {
                // A thousandth for the arithmetic.
                let off = (x - y).abs();
                assert!(off <= greatest / 127.0 * 0.5005 || off < 1e-38, "{x} {y}");
            }
        }
        assert_eq!(back[(1, 0)], -300.0);
    }

    #[test]
    fn what_was_rounded_once_is_rounded_to_itself() {
        let vectors = array![[0.3_f32, -0.7, 0.11], [5.0, 4.0, -3.0]];
        let once = Quantised::of(vectors.view()).unwrap();
        let again = Quantised::from_bytes(3, once.bytes().to_vec()).unwrap();
        assert_eq!(again.vectors(), once.vectors());
        assert_eq!(again, once);
    }

    #[test]
    fn what_is_no_vector_is_none() {
        assert_eq!(Quantised::of(array![[f32::NAN, 1.0]].view()), None);
        assert_eq!(Quantised::of(array![[1.0, f32::INFINITY]].view()), None);
        assert_eq!(Quantised::from_bytes(3, vec![0; 8]), None);
        assert_eq!(Quantised::from_bytes(0, vec![0; 8]), None);
        let none = Quantised::of(Array2::zeros((0, 3)).view()).unwrap();
        assert_eq!(none.vectors().dim(), (0, 3));
    }
}
