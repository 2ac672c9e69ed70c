"""One module per command of ``glip``; nothing else imports them."""
