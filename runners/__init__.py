"The deployable shell: everything that owns a lifetime."
