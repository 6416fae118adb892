"""What paper files may say of a run, and what the plan asks of it: a class of settings a method, without torch."""
