"The service over HTTP: health, numbers, answers, and the page."
