//! The whole program against the files alone. One test binary, because linking it is what takes time.

mod crash;
mod faults;
mod golden;
mod histories;
mod layouts;
mod streams;
mod support;
