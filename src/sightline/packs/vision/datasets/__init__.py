"""Data sets: pictures and boxes in the forms that trainers and labelling tools read."""
