//! Room: tools.
