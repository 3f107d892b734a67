//! A binary's folder for what must survive a restart, locked.
