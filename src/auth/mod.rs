//! Who is asking: tokens, grants, the home rule, principals. Knows no HTTP; a bearer is a string and a
//! Host is text.

mod authenticator;
mod error;
mod grants;
mod home;
mod index;
mod machine;
mod passphrase;
mod state;
mod store;
mod throttle;
mod token;

pub use authenticator::system_now_s;
pub use authenticator::{Authenticator, Clock, Denied, Door, Principal, TokenSources};
pub use error::AuthError;
pub use grants::{GRANTS_MAX, Issued, Lifetimes, NewGrant, NoRefresh, Refreshed};
pub use home::{HostNames, Interface, is_globally_routable, is_home_peer, is_local_name};
pub use index::SCOPE;
pub use machine::{Interfaces, machine_name};
pub use passphrase::{hash_passphrase, is_passphrase, new_passphrase};
pub use state::{Grant, KnownClient, Record, State};
pub use store::Store;
pub use throttle::{Deed, Throttle, Together, network};
pub use token::{TokenId, new_secret};
