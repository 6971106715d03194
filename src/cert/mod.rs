//! Room: cert.
