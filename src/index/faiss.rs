//! The boundary to FAISS: [`Ann`], an index that a caller can't misuse. The only other unsafe code is `blas.rs`.
//!
//! What FAISS does when it is held wrong, and where that is stopped here:
//!
//! - A slice of the wrong length is read out of bounds, or answered by `Ok` with nothing: lengths are checked first.
//! - A NaN, stored or asked for, makes the graph search of HNSW run for ever: only finite numbers pass.
//! - `efSearch` belongs to an index, not to a query: it is set through `&mut`, so never during a search. `nprobe` travels
//!   with each query.
//! - `remove_ids` fails on HNSW and removes nothing from some IVF types while reporting success: it is not offered.
//!   Selectors may dangle: none is ever made. Rows leave by tombstones (`snapshot.rs`).
//! - OPQ, PCA and ITQ need LAPACK, which is not linked: an index is created by [`Kind`], never by a user's text, and a file is
//!   given to FAISS only if it starts with the mark of one of the three kinds.
//! - A flipped bit in a file loads without complaint, and an error on closing a written file is only printed: whoever reads
//!   checks a checksum first, and whoever wrote reads back (`build.rs`).
//! - C++ exceptions end in the C API, as a code; the message is fetched at once on the same thread. Nothing here panics
//!   between a call and its check.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use faiss_sys as c;

use super::IndexError;
use super::policy::Kind;

// OpenMP's own: sets the number of threads of parallel regions that the calling thread starts.
unsafe extern "C" {
    fn omp_set_num_threads(threads: c_int);
}

/// A row of an index and its inner product with the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The row, in the order of addition.
    pub position: usize,
    /// Inner product as FAISS summed it: its last bits depend on the kind of index.
    pub score: f32,
}

/// A FAISS index over inner product.
#[derive(Debug)]
pub struct Ann {
    raw: NonNull<c::FaissIndex>,
    kind: Kind,
    dimension: usize,
    len: usize,
}

// SAFETY: FAISS ties an index to no thread; the only thread-local state of the C API is the last error's text, which is
// read on the thread of the failing call before anything else.
unsafe impl Send for Ann {}

// SAFETY: `&self` reaches `search`, `reconstruct`, `clone_index` and `write_index` alone. They are const in C++, FAISS documents CPU indexes as safe
// for concurrent reading, and their scratch space (heaps, visited tables) is local to the call. What they share are
// statistics counters of the library, which nobody reads. Everything that changes an index takes `&mut self`.
unsafe impl Sync for Ann {}

impl Drop for Ann {
    fn drop(&mut self) {
        // SAFETY: `raw` came from FAISS, is owned by this value alone, and is not used again.
        unsafe { c::faiss_Index_free(self.raw.as_ptr()) }
    }
}

impl Ann {
    /// An empty index.
    pub fn new(kind: Kind, dimension: usize) -> Result<Self, IndexError> {
        let width = checked_dimension(dimension)?;
        let name = match kind {
            Kind::Flat => "Flat".to_owned(),
            Kind::Hnsw { m } => format!("HNSW{m},Flat"),
            Kind::Ivf { nlist } => format!("IVF{nlist},Flat"),
        };
        let name = CString::new(name).expect("the names above hold no NUL");
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is a valid place for one pointer, `name` a C string that outlives the call.
        check("create an index", unsafe {
            c::faiss_index_factory(
                &mut raw,
                width,
                name.as_ptr(),
                c::FaissMetricType_METRIC_INNER_PRODUCT,
            )
        })?;
        let mut ann = Self::own(raw, kind, dimension)?;
        ann.keep_direct_map()?;
        Ok(ann)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Length of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Learns the cells of an IVF index from `[n, d]` vectors; the other kinds have nothing to learn.
    pub fn train(&mut self, vectors: &[f32], threads: usize) -> Result<(), IndexError> {
        let Kind::Ivf { nlist } = self.kind else {
            return Ok(());
        };
        let rows = self.checked_rows(vectors)?;
        if rows < nlist as usize {
            return Err(IndexError::faiss(
                "train",
                format!("{rows} vectors can't make {nlist} cells"),
            ));
        }
        set_threads(threads);
        // SAFETY: `vectors` holds rows × dimension floats (checked above); `&mut self`: nobody else uses the index.
        check("train", unsafe {
            c::faiss_Index_train(self.raw.as_ptr(), rows as i64, vectors.as_ptr())
        })
    }

    /// Appends `[n, d]` vectors.
    pub fn add(&mut self, vectors: &[f32], threads: usize) -> Result<(), IndexError> {
        let rows = self.checked_rows(vectors)?;
        if rows == 0 {
            return Ok(());
        }
        // SAFETY: `raw` is a live index.
        if unsafe { c::faiss_Index_is_trained(self.raw.as_ptr()) } == 0 {
            return Err(IndexError::faiss(
                "add",
                "the index has not been trained".into(),
            ));
        }
        // HNSW numbers its rows with 32 bits, signed.
        if self.len + rows > i32::MAX as usize {
            return Err(IndexError::faiss(
                "add",
                format!("{} rows are more than an index holds", self.len + rows),
            ));
        }
        set_threads(threads);
        // SAFETY: `vectors` holds rows × dimension floats (checked above); `&mut self`: nobody else uses the index.
        check("add", unsafe {
            c::faiss_Index_add(self.raw.as_ptr(), rows as i64, vectors.as_ptr())
        })?;
        self.len += rows;
        Ok(())
    }

    /// The breadth of HNSW's search, for all queries from now on; the other kinds have none.
    pub fn set_ef_search(&mut self, ef_search: usize) -> Result<(), IndexError> {
        if !matches!(self.kind, Kind::Hnsw { .. }) {
            return Ok(());
        }
        let mut space = ptr::null_mut();
        // SAFETY: `space` is a valid place for one pointer.
        check("set efSearch", unsafe {
            c::faiss_ParameterSpace_new(&mut space)
        })?;
        // SAFETY: both pointers are live, the name is a C string, and `&mut self` keeps searches away.
        let code = unsafe {
            c::faiss_ParameterSpace_set_index_parameter(
                space,
                self.raw.as_ptr(),
                c"efSearch".as_ptr(),
                ef_search.clamp(1, 1 << 20) as f64,
            )
        };
        let outcome = check("set efSearch", code);
        // SAFETY: `space` was made above and is not used again.
        unsafe { c::faiss_ParameterSpace_free(space) };
        outcome
    }

    /// The up to `k` rows nearest to `query`, best first; `nprobe` cells are looked at in an IVF index. One thread.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        nprobe: usize,
    ) -> Result<Vec<Neighbour>, IndexError> {
        self.checked_row(query)?;
        let k = k.min(self.len);
        if k == 0 {
            return Ok(Vec::new());
        }
        let mut scores = vec![0f32; k];
        let mut rows = vec![-1i64; k];
        set_threads(1);
        let index = self.raw.as_ptr();
        let code = if let Kind::Ivf { nlist } = self.kind {
            let parameters = Probes::new(nprobe.clamp(1, nlist as usize))?;
            // SAFETY: as below; the parameters are of the type that IVF expects and outlive the call.
            unsafe {
                c::faiss_Index_search_with_params(
                    index,
                    1,
                    query.as_ptr(),
                    k as i64,
                    parameters.0.as_ptr().cast(),
                    scores.as_mut_ptr(),
                    rows.as_mut_ptr(),
                )
            }
        } else {
            // SAFETY: `query` holds `dimension` finite floats, both outputs hold k items, and reading is concurrent-safe.
            unsafe {
                c::faiss_Index_search(
                    index,
                    1,
                    query.as_ptr(),
                    k as i64,
                    scores.as_mut_ptr(),
                    rows.as_mut_ptr(),
                )
            }
        };
        check("search", code)?;
        let found = rows.into_iter().zip(scores);
        // Row −1 fills up where fewer were found.
        Ok(found
            .filter_map(|(row, score)| {
                Some(Neighbour {
                    position: usize::try_from(row).ok()?,
                    score,
                })
            })
            .filter(|n| n.position < self.len)
            .collect())
    }

    /// Copies the vector of a row into `into`, bit for bit as it was added.
    pub fn vector(&self, position: usize, into: &mut [f32]) -> Result<(), IndexError> {
        if into.len() != self.dimension {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                got: into.len(),
            });
        }
        if position >= self.len {
            return Err(IndexError::faiss(
                "read a row",
                format!("row {position} of {}", self.len),
            ));
        }
        // SAFETY: the row exists and `into` holds `dimension` floats (both checked above).
        check("read a row", unsafe {
            c::faiss_Index_reconstruct(self.raw.as_ptr(), position as i64, into.as_mut_ptr())
        })
    }

    /// Another index of the same rows, which grows for itself.
    pub fn copy(&self) -> Result<Self, IndexError> {
        let mut raw = ptr::null_mut();
        // SAFETY: a live index, only read; `raw` is a valid place for one pointer.
        check("copy an index", unsafe {
            c::faiss_clone_index(self.raw.as_ptr(), &mut raw)
        })?;
        let mut copy = Self::own(raw, self.kind, self.dimension)?;
        copy.len = self.len;
        copy.keep_direct_map()?;
        Ok(copy)
    }

    /// Writes it to a file. FAISS does not report every failed write: read the file back before relying on it.
    pub fn write(&self, path: &Path) -> Result<(), IndexError> {
        let name = c_path(path)?;
        // SAFETY: a live index, only read; `name` is a C string that outlives the call.
        check("write an index", unsafe {
            c::faiss_write_index_fname(self.raw.as_ptr(), name.as_ptr())
        })
    }

    /// Reads what [`Self::write`] wrote. The caller has compared the file's checksum: FAISS trusts its bytes.
    pub fn read(path: &Path, kind: Kind, dimension: usize, len: usize) -> Result<Self, IndexError> {
        let width = checked_dimension(dimension)?;
        let mut mark = [0u8; 4];
        let opened = File::open(path).and_then(|mut file| file.read_exact(&mut mark));
        opened.map_err(|source| IndexError::io("read", path, source))?;
        let expected: &[u8; 4] = match kind {
            Kind::Flat => b"IxFI",
            Kind::Hnsw { .. } => b"IHNf",
            Kind::Ivf { .. } => b"IwFl",
        };
        if &mark != expected {
            return Err(IndexError::faiss(
                "read an index",
                format!("{} is not of kind {kind:?}", path.display()),
            ));
        }
        let name = c_path(path)?;
        let mut raw = ptr::null_mut();
        // SAFETY: `name` is a C string, `raw` a valid place for one pointer.
        check("read an index", unsafe {
            c::faiss_read_index_fname(name.as_ptr(), 0, &mut raw)
        })?;
        let mut ann = Self::own(raw, kind, dimension)?;
        // SAFETY: `raw` is a live index; these are plain getters, the cast answers null for another type.
        let (got, rows, metric, trained, nlist) = unsafe {
            let raw = ann.raw.as_ptr();
            let ivf = c::faiss_IndexIVF_cast(raw);
            let nlist = if ivf.is_null() {
                0
            } else {
                c::faiss_IndexIVF_nlist(ivf)
            };
            let trained = c::faiss_Index_is_trained(raw) != 0;
            (
                c::faiss_Index_d(raw),
                c::faiss_Index_ntotal(raw),
                c::faiss_Index_metric_type(raw),
                trained,
                nlist,
            )
        };
        let cells = if let Kind::Ivf { nlist } = kind {
            nlist as usize
        } else {
            0
        };
        let inner_product = metric == c::FaissMetricType_METRIC_INNER_PRODUCT;
        if got != width || rows != len as i64 || !inner_product || !trained || nlist != cells {
            let what = format!(
                "{} does not hold {len} rows of {dimension}, {kind:?}",
                path.display()
            );
            return Err(IndexError::faiss("read an index", what));
        }
        ann.len = len;
        ann.keep_direct_map()?;
        Ok(ann)
    }

    fn own(raw: *mut c::FaissIndex, kind: Kind, dimension: usize) -> Result<Self, IndexError> {
        let raw =
            NonNull::new(raw).ok_or_else(|| IndexError::faiss("create an index", "null".into()))?;
        Ok(Self {
            raw,
            kind,
            dimension,
            len: 0,
        })
    }

    /// Lets an IVF index find a row's vector by its number.
    fn keep_direct_map(&mut self) -> Result<(), IndexError> {
        if !matches!(self.kind, Kind::Ivf { .. }) {
            return Ok(());
        }
        // SAFETY: `raw` is a live index; the cast answers null for another type.
        let ivf = unsafe { c::faiss_IndexIVF_cast(self.raw.as_ptr()) };
        if ivf.is_null() {
            return Err(IndexError::faiss(
                "create an index",
                "not an IVF index".into(),
            ));
        }
        // SAFETY: `ivf` is this very index, used by nobody else (`&mut self`).
        check("map rows", unsafe {
            c::faiss_IndexIVF_make_direct_map(ivf, 1)
        })
    }

    /// The number of vectors in `vectors`, all of them finite.
    fn checked_rows(&self, vectors: &[f32]) -> Result<usize, IndexError> {
        if !vectors.len().is_multiple_of(self.dimension) {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                got: vectors.len(),
            });
        }
        if !vectors.iter().all(|x| x.is_finite()) {
            return Err(IndexError::NotFinite);
        }
        Ok(vectors.len() / self.dimension)
    }

    fn checked_row(&self, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.dimension {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                got: vector.len(),
            });
        }
        self.checked_rows(vector).map(drop)
    }
}

/// Search parameters of an IVF index, freed when dropped. They hold no selector.
struct Probes(NonNull<c::FaissSearchParametersIVF>);

impl Probes {
    fn new(nprobe: usize) -> Result<Self, IndexError> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is a valid place for one pointer; a null selector means every row.
        check("search", unsafe {
            c::faiss_SearchParametersIVF_new_with(&mut raw, ptr::null_mut(), nprobe, 0)
        })?;
        NonNull::new(raw)
            .map(Self)
            .ok_or_else(|| IndexError::faiss("search", "null".into()))
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        // SAFETY: made by `new`, owned by this value alone, not used again.
        unsafe { c::faiss_SearchParametersIVF_free(self.0.as_ptr()) }
    }
}

/// OpenMP's number belongs to the calling thread: it is set before each call that may be parallel.
fn set_threads(threads: usize) {
    // SAFETY: no memory is involved; the number is positive.
    unsafe { omp_set_num_threads(threads.clamp(1, 1024) as c_int) }
}

fn checked_dimension(dimension: usize) -> Result<c_int, IndexError> {
    match c_int::try_from(dimension) {
        Ok(width) if (1..=1 << 16).contains(&width) => Ok(width),
        _ => Err(IndexError::faiss(
            "create an index",
            format!("{dimension} is no dimension of a vector"),
        )),
    }
}

fn c_path(path: &Path) -> Result<CString, IndexError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| IndexError::faiss("open a file", format!("{} holds a NUL", path.display())))
}

/// An error code of the C API with its message, as an error.
fn check(doing: &'static str, code: c_int) -> Result<(), IndexError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the text, if any, belongs to this thread's last exception and stays until the next failing call.
    let text: *const c_char = unsafe { c::faiss_get_last_error() };
    let message = if text.is_null() {
        format!("code {code}")
    } else {
        // SAFETY: not null, and a C string as long as no further call is made.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    };
    Err(IndexError::faiss(doing, message))
}

#[cfg(test)]
mod tests;
