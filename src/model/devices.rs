//! Where a model runs: CUDA, CoreML, or the processor that every machine has.

use std::fmt;
use std::str::FromStr;

use ort::ep::{CUDA, CoreML, ExecutionProvider};
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::ModelError;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The first that works of CUDA, CoreML and the processor.
    #[default]
    Auto,
    /// An NVIDIA graphics processor; without one, the processor, and a warning.
    Cuda,
    /// Apple's CoreML; without it, the processor, and a warning.
    CoreMl,
    /// The processor.
    Cpu,
}

impl Device {
    fn order(self) -> &'static [Provider] {
        match self {
            Self::Auto => &[Provider::Cuda, Provider::CoreMl, Provider::Cpu],
            Self::Cuda => &[Provider::Cuda, Provider::Cpu],
            Self::CoreMl => &[Provider::CoreMl, Provider::Cpu],
            Self::Cpu => &[Provider::Cpu],
        }
    }

    /// Whether the loaded library leaves nothing to choose.
    pub(super) fn only_processor(self) -> bool {
        let mut order = self.order().iter();
        order.all(|&provider| provider == Provider::Cpu || !provider.offered())
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda),
            "coreml" => Ok(Self::CoreMl),
            "cpu" => Ok(Self::Cpu),
            _ => Err(format!(
                "{text:?} is not a device: auto, cuda, coreml or cpu"
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cuda => "cuda",
            Self::CoreMl => "coreml",
            Self::Cpu => "cpu",
        })
    }
}

/// What it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// An NVIDIA graphics processor.
    Cuda,
    /// Apple's CoreML.
    CoreMl,
    /// The processor.
    Cpu,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuda => "cuda",
            Self::CoreMl => "coreml",
            Self::Cpu => "cpu",
        })
    }
}

impl Provider {
    /// Whether the loaded library was built with it. Whether the machine has it shows when a session is made.
    pub fn offered(self) -> bool {
        match self {
            Self::Cuda => CUDA::is_available().unwrap_or(false),
            Self::CoreMl => CoreML::is_available().unwrap_or(false),
            Self::Cpu => true,
        }
    }

    pub(super) fn attach(self, builder: &mut SessionBuilder) -> Result<(), ort::Error> {
        match self {
            Self::Cuda => CUDA::default().register(builder),
            Self::CoreMl => CoreML::default().register(builder),
            Self::Cpu => Ok(()),
        }
    }
}

/// The first provider of the order on which a session can be built, and that session.
pub(super) fn choose<S>(
    device: Device,
    build: impl Fn(Provider) -> Result<S, ModelError>,
) -> Result<(Provider, S), ModelError> {
    for &provider in device.order() {
        let reason = if provider == Provider::Cpu {
            return build(provider).map(|session| (provider, session));
        } else if !provider.offered() {
            "this build of ONNX Runtime does not have it".to_owned()
        } else {
            match build(provider) {
                Ok(session) => return Ok((provider, session)),
                Err(e) => e.to_string(),
            }
        };
        if device == Device::Auto {
            tracing::debug!(%provider, reason, "device not used");
        } else {
            tracing::warn!(%provider, reason, "device not usable, going on with the processor");
        }
    }
    build(Provider::Cpu).map(|session| (Provider::Cpu, session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cuda, Device::CoreMl, Device::Cpu] {
            assert_eq!(device.to_string().parse(), Ok(device));
            assert_eq!(
                serde_json::to_string(&device).unwrap(),
                format!("\"{device}\"")
            );
        }
        assert!("tpu".parse::<Device>().unwrap_err().contains("auto, cuda"));
    }

    #[test]
    fn every_order_ends_with_the_processor() {
        for device in [Device::Auto, Device::Cuda, Device::CoreMl, Device::Cpu] {
            assert_eq!(device.order().last(), Some(&Provider::Cpu));
        }
    }
}
