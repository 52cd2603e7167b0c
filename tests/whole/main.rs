//! The whole program against the files alone. One test binary, because linking it is what takes time.

mod crash;
mod economy;
mod faults;
mod golden;
mod histories;
mod hostile;
mod layouts;
mod leaving;
mod limits;
mod moving;
mod panics;
mod races;
mod resting;
mod streams;
mod support;
