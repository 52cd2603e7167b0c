//! Nothing: the fuzzer is the test beside it, and `make fuzz` builds it.
