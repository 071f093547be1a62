"""A listing as it is shown: the parties' names and words only to the two of them and to an arbiter."""

from collections.abc import Sequence

from schemas.listings import ListingView, SaleStep
from schemas.money import format_micros
from services.listings.domain import default_outcome
from services.listings.store import Listing

PRIVATE = ("seller", "buyer", "escrow_id", "difference")


def view_of(
    listing: Listing, account: str | None = None, history: Sequence[SaleStep] = (), is_arbiter: bool = False
) -> ListingView:
    """Shows a listing to an account, or to everyone; `history` goes to those who may see it."""
    is_party = account is not None and account in (listing.seller, listing.buyer)
    sees_all = is_party or is_arbiter
    same = {name: getattr(listing, name) for name in ListingView.model_fields if name in Listing.__dataclass_fields__}
    hidden = {} if sees_all else dict.fromkeys(PRIVATE)
    return ListingView(
        **same | hidden,
        price=format_micros(listing.price_micros),
        default_outcome=default_outcome(listing.state),
        history=tuple(history) if sees_all else (),
    )
