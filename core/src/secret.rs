//! Text that never shows itself.
