//! The forms of other key APIs, on the clients' listener.

mod userplane;
