//! Behaviors of the whole house.
