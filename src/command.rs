//! Commands besides serving.
