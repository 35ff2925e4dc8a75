from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def nobody(headers: dict[bytes, bytes]) -> str:
    raise Auth.exceptions.HTTPException(status_code=401, detail="nobody is let in")
