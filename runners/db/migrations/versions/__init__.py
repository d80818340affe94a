"The schema's steps, numbered; forward only."
