//! Certificates: a local CA and a leaf of our own, or the owner's files; loaded, checked, renewed,
//! and taken up anew when they change on disk. Knows no socket and no setting.

mod error;
mod folder;
mod issue;
mod live;
mod load;
mod names;
mod prepare;

pub use error::CertError;
pub use live::{Certificates, Summary};
pub use load::{Authority, day};
pub use prepare::{Made, make};
