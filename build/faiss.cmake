# Read by the build of FAISS (faiss-sys) through CMAKE_TOOLCHAIN_FILE.
# FAISS asks for a BLAS: it is told that one is there; floodmark exports the one routine that is called (src/index/blas.rs).
set(MKL_LIBRARIES "" CACHE STRING "" FORCE)
set(MKL_FOUND TRUE CACHE BOOL "" FORCE)
set(FAISS_ENABLE_MKL OFF CACHE BOOL "" FORCE)
set(FAISS_ENABLE_EXTRAS OFF CACHE BOOL "" FORCE)
# AVX2 and FMA are what makes FAISS fast; `floodmark doctor` names a processor that lacks them.
if(CMAKE_HOST_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options(-march=x86-64-v3)
endif()
