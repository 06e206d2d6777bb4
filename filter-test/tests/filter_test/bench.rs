//! What is wrong is told: wrong expectations, filters that hang, trap, hold or differ.
