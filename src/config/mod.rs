//! Settings: what was said, what is used, and every problem at once.
