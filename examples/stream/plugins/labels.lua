-- What a score means to a passenger.
function label(args)
    if args.score < 15 then
        return "on time"
    elseif args.score < 60 then
        return "late"
    end
    return "very late"
end
