//! Who is asking: tokens, the home rule, principals. Knows no HTTP; a bearer is a string and a
//! Host is text.

mod authenticator;
mod error;
mod home;
mod machine;
mod store;
mod token;

pub use authenticator::{Authenticator, Denied, Principal, TokenSources};
pub use error::AuthError;
pub use home::{HostNames, Interface, is_globally_routable, is_home_peer, is_local_name};
pub use machine::{Interfaces, machine_name};
pub use store::{Record, Store};
pub use token::TokenId;
