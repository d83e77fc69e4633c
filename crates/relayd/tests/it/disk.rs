//! What the disk holds, and when there is no more of it.
