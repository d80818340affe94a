"Real orders: what is sent to a venue and what is believed of its answers."
