"""The only door to Ray and Lightning: a job goes in, weights and curves come out."""
