"""What both sorts of socket have in common: a message is text, whichever kind of frame it comes in."""

from fastapi import WebSocket, WebSocketDisconnect


async def next_message(socket: WebSocket) -> bytes:
    """Returns the next message. Raises WebSocketDisconnect where the client has gone."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005, message.get("reason"))
    text = message.get("text")
    return message.get("bytes") or b"" if text is None else text.encode()
