//! The one BLAS routine that FAISS calls, over `matrixmultiply`, and the LAPACK routines that it never reaches.
//!
//! FAISS is told at its configuration that a BLAS is there (`build/faiss.cmake`); these symbols are what it finds when
//! the program is linked. `sgemm_` serves k-means (IVF training). The LAPACK routines serve OPQ, PCA and ITQ only:
//! [`super::faiss`] creates and reads no such index, so a call is a broken invariant and ends the process.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// Whether a BLAS transposition letter asks for a transposed operand. For real numbers `C` means the same as `T`.
fn is_transposed(letter: u8) -> bool {
    matches!(letter, b'T' | b't' | b'C' | b'c')
}

/// Row and column stride of a column-major matrix as the product sees it.
fn strides(transposed: bool, leading: c_int) -> (isize, isize) {
    if transposed {
        (leading as isize, 1)
    } else {
        (1, leading as isize)
    }
}

/// `C ← alpha · op(A) · op(B) + beta · C`, column-major, as the reference BLAS defines it.
///
/// # Safety
/// Every pointer is valid for what BLAS reads or writes through it: `a` for `op(A)` of m × k, `b` for `op(B)` of k × n,
/// `c` for m × n, with the given leading dimensions; `c` overlaps neither.
// SAFETY of the export: the name and the signature are those of the reference BLAS with 32-bit integers (FAISS is
// compiled with FINTEGER=int), and no other BLAS is linked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sgemm_(
    transposed_a: *const c_char,
    transposed_b: *const c_char,
    m: *const c_int,
    n: *const c_int,
    k: *const c_int,
    alpha: *const f32,
    a: *const f32,
    lda: *const c_int,
    b: *const f32,
    ldb: *const c_int,
    beta: *const f32,
    c: *mut f32,
    ldc: *const c_int,
) -> c_int {
    // SAFETY: Fortran passes scalars by address; the caller gave valid ones.
    let (transposed_a, transposed_b, m, n, k, alpha, lda, ldb, beta, ldc) = unsafe {
        (
            *transposed_a as u8,
            *transposed_b as u8,
            *m,
            *n,
            *k,
            *alpha,
            *lda,
            *ldb,
            *beta,
            *ldc,
        )
    };
    let (Ok(m), Ok(n), Ok(k)) = (usize::try_from(m), usize::try_from(n), usize::try_from(k)) else {
        // What the reference does on a bad argument: nothing. A panic here would abort, which helps nobody.
        return 0;
    };
    let (row_a, column_a) = strides(is_transposed(transposed_a), lda);
    let (row_b, column_b) = strides(is_transposed(transposed_b), ldb);
    // SAFETY: the caller's matrices are valid for these shapes and strides, and `c` overlaps neither operand.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            alpha,
            a,
            row_a,
            column_a,
            b,
            row_b,
            column_b,
            beta,
            c,
            1,
            ldc as isize,
        );
    }
    0
}

macro_rules! never_reached {
    ($($name:ident)*) => {$(
        /// A routine that no index of this program calls.
        // SAFETY of the export: it reads none of its arguments and does not return.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> c_int {
            eprintln!(concat!(
                "floodmark: FAISS called ", stringify!($name),
                ", which this build does not have; please report this"
            ));
            std::process::abort()
        }
    )*};
}

never_reached! {
    dgemm_ dgesvd_ dgetrf_ dgetri_ dsyev_ sgelsd_ sgeqrf_ sgesvd_ sgetrf_ sgetri_ sorgqr_ ssyev_ ssyrk_
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Column-major product by the definition.
    #[allow(clippy::too_many_arguments)]
    fn by_definition(
        (ta, tb): (bool, bool),
        (m, n, k): (usize, usize, usize),
        alpha: f32,
        (a, lda): (&[f32], usize),
        (b, ldb): (&[f32], usize),
        beta: f32,
        (c, ldc): (&mut [f32], usize),
    ) {
        for row in 0..m {
            for column in 0..n {
                let sum: f32 = (0..k)
                    .map(|i| {
                        let left = if ta {
                            a[row * lda + i]
                        } else {
                            a[i * lda + row]
                        };
                        let right = if tb {
                            b[i * ldb + column]
                        } else {
                            b[column * ldb + i]
                        };
                        left * right
                    })
                    .sum();
                let cell = &mut c[column * ldc + row];
                *cell = alpha * sum + if beta == 0.0 { 0.0 } else { beta * *cell };
            }
        }
    }

    #[test]
    fn the_product_is_that_of_the_definition() {
        let (m, n, k) = (5usize, 7usize, 3usize);
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let (lda, ldb, ldc) = (
                if ta { k } else { m } + 2,
                if tb { n } else { k } + 1,
                m + 3,
            );
            let numbers = |len: usize, step: f32| -> Vec<f32> {
                (0..len).map(|i| (i as f32 * step).sin()).collect()
            };
            let a = numbers(lda * m.max(k), 0.7);
            let b = numbers(ldb * n.max(k), 1.3);
            for beta in [0.0, 0.5] {
                let mut expected = numbers(ldc * n, 0.1);
                let mut got = if beta == 0.0 {
                    vec![f32::NAN; ldc * n]
                } else {
                    expected.clone()
                };
                by_definition(
                    (ta, tb),
                    (m, n, k),
                    1.5,
                    (&a, lda),
                    (&b, ldb),
                    beta,
                    (&mut expected, ldc),
                );
                let letter = |t: bool| if t { b'T' } else { b'N' } as c_char;
                // SAFETY: the vectors above are as large as their shapes and leading dimensions ask for.
                unsafe {
                    sgemm_(
                        &letter(ta),
                        &letter(tb),
                        &(m as c_int),
                        &(n as c_int),
                        &(k as c_int),
                        &1.5,
                        a.as_ptr(),
                        &(lda as c_int),
                        b.as_ptr(),
                        &(ldb as c_int),
                        &beta,
                        got.as_mut_ptr(),
                        &(ldc as c_int),
                    );
                }
                for column in 0..n {
                    for row in 0..m {
                        let (e, g) = (expected[column * ldc + row], got[column * ldc + row]);
                        assert!(
                            (e - g).abs() < 1e-5,
                            "{ta} {tb} {beta}: ({row},{column}) {g} is not {e}"
                        );
                    }
                }
            }
        }
    }
}
