/** No text index: every search looks at every text. What both others are compared with. */

export const CREATE_TEXT_INDEX = '';

export const createIndexNextPart = () => () => false;

export const isSearchable = () => false;

export const candidatesOf = () => [];
