"""The currencies that there are at this venue: money comes in, and is paid for goods, in these alone."""

CURRENCIES = {
    "CNY": "Renminbi",
    "EUR": "Euro",
    "HKD": "Hong Kong dollar",
    "JPY": "Yen",
    "SGD": "Singapore dollar",
    "USD": "US dollar",
}
